"""A critic: values of the states before tokens, advantages from them, and the loss that trains them."""
