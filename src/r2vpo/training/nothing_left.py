"""The end of a training that has nothing left to train on."""


class NothingLeft(Exception):
    """Raised to end training before its last step, with the model as it is as the result.

    Its text is what a user should know about it, a line; there is none if the training was complete before.
    """
