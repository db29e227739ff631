r"""Patterns of statements that choose a letter, and of words that take a statement back.

They apply to text that `choice_text.marked` has processed: a letter that may be a choice is a separate character,
`LETTER`, whatever marks surrounded it, followed by `)` if it was in brackets. The text before a letter is matched at
its end, the text after it at its beginning.
"""

from __future__ import annotations

import re

from r2vpo.rewards.denials import AND

LETTER = "[\ue041-\ue05a\ue061-\ue07a]"
"""The capital and small ASCII letters, shifted by 0xE000 into the private use area of Unicode."""
_FIRST = r"(?<![A-Za-z])"
_LEADS = (
    "answer|ans|respuesta|r\u00e9ponse|antwort|antwoord|risposta|resposta|odpowied\u017a|svar|cevap|jawaban"
    "|\u0111\u00e1p \u00e1n|\u043e\u0442\u0432\u0435\u0442|\u7b54\u6848|\u9009\u9879|\u9009\u62e9|\u9009|\u7b54\u3048"
    "|\uc815\ub2f5|\ub2f5|\u0627\u0644\u0625\u062c\u0627\u0628\u0629|\u0909\u0924\u094d\u0924\u0930"
)
_BETWEEN = r"(?:,? [\w'/-]+){0,6}?,?"  # "here", "to question 5", "I get", "must"
_LINK = (
    r" ?(?:\b(?:(?:is|are|was)(?:n't)?|be|seems|appears|becomes|remains|es|est|ist|comes out (?:as|to))\b|'s\b|[:=]| - "
    "|\u00e8|\u00e9|\u662f|\u4e3a|\u306f|\uc740)"
)
_ADVERBS = (
    r"(?: ?,? (?:(?:most )?(?!on)\w+ly|not|never|to be|indeed|then|thus|hence|therefore|just|still|now|again|in fact"
    r"|of course)\b,?)*"
)
_NOUN = r"(?: ?:? ?(?:\b(?:the|la|le|die|der)\b)? ?(?:\b(?:option|choice|letter|answer|statement)\b|\u9009\u9879)?)"
_END = r"[ :=-]*(?:\( ?)?$"
ANSWER = re.compile(rf"{_FIRST}(?:{_LEADS})s?(?:{_BETWEEN}{_LINK}{_ADVERBS})?{_NOUN}{_END}", re.IGNORECASE)
"""The end of the text before a letter that is called the answer."""
_I = r"\b(?:I|we)(?:'d| would|'ll| will| have|'ve)? "
CHOICE = re.compile(
    r"\b(?:(?:correct|right|best|only|true) (?:one|statement)|option|choice|pick|selection|letter|guess|verdict"
    r"|solution)"
    rf"{_BETWEEN}{_LINK}{_ADVERBS}{_NOUN}{_END}"
    rf"|\b(?:choos(?:e|ing)|select(?:ing)?|pick(?:ing)?|go(?:ing)? (?:with|for)|opt(?:ing)? for|settle (?:on|for)"
    rf"|{_I}(?:say|guess|answer(?: with)?|chose|picked|selected|went with|opted for|settled on))\b"
    rf"{_ADVERBS}{_NOUN}{_END}",
    re.IGNORECASE,
)
"""The end of the text before a letter that is chosen or called the right choice."""
CONCLUDES = re.compile(
    r"(?:^yes|,(?= (?:option|choice)\b)|\b(?:it(?:'s| is| must be)|(?:must|should) be"
    r"|(?:which|that|this) (?:is|matches|corresponds to)"
    rf"|corresponding to|leav(?:es|ing)|thus|hence|therefore|so)){_ADVERBS},?{_NOUN}{_END}",
    re.IGNORECASE,
)
"""The end of the text before a letter that ends its sentence as a conclusion."""
NOUN = re.compile(r"(?:\bthe )?\b(?:options?|choices?|letters?|answers?|statements?) ?$", re.IGNORECASE)

_STARTS = r"\)?(?:,? (?:however|though|then|in fact|of course|\w+ly)\b,?)? "
RIGHT = re.compile(
    rf"{_STARTS}(?:is|are|was|(?:must|has to|should|would|will) be|seems|looks|appears)"
    r"(?:,? (?!hardly|scarcely|barely|nearly|partly|partially|supposedly|rarely)"
    r"(?:\w+ly|to be|thus|then|indeed|in fact)\b,?)*"
    r" (?:the )?(?:(?:only|single|most) )?"
    r"(?:correct|right|best(?! distractor)|true|answer|one|accurate|chosen|selected)\b"
    r"(?!,? (?:\w+ )?(?:is|was|would|if|unless|isn't)\b|,? (?:but|yet) (?:it(?:'s| is| isn't)|wrong|incorrect|not)\b)",
    re.IGNORECASE,
)
"""The text after a letter that is called right."""
VERB = re.compile(
    rf"{_STARTS}(?:\w+ly )?(?:(?:is|are|was|were|has|have|had|does|did|do|would|could|can|cannot|will|must|should"
    r"|may|might|seems|looks|appears|fails|\w+n't)\b|not (?:correct|right|true|the\b|it\b))",
    re.IGNORECASE,
)
"""The text after a letter that a sentence is about; the sentence chooses it only if it is `RIGHT`."""
OWN = re.compile(
    r"\)? (?:(?!as\b|this\b|unless\b|besides\b|perhaps\b|always\b)[a-z']+s\b|would|can|cannot|could|will|had|did|do"
    r"|may|might|being|\w+n't)",
    re.IGNORECASE,
)
"""A sign that a second letter begins another sentence."""
JOINED = re.compile(
    rf"[ ,;/&+(-]*(?:\b{AND}\b(?: both\b)?[ .,;/&+(-]*){{0,5}}(?:(?:the )?(?:option|choice|letter|answer)\b)? ?\(?",
    re.IGNORECASE,
)
"""The text between two letters that are both chosen."""

_FOR_SURE = (
    r"\b(?:(?:there (?:is|can be) )?(?:no|without(?: a| any)?|beyond(?: a| any)?|not?) doubt|no question"
    r"|(?:no|none|nothing|no one|nobody|can(?:'t|not) be anything)(?: \w+)? (?:but|except|other than|besides)) ?"
)
NO_DENIALS = re.compile(
    rf"{_FOR_SURE}|(?:\bnot|n't)(?: \w+ly)? (?:the )?{_NOUN}{LETTER}\)?(?:[ ,]*\b(?:or|and|nor)\b {LETTER}\)?)*[,;]?"
    rf"(?: but(?: rather)?(?=[^.;]{{0,20}}{LETTER})|(?: but)?(?: rather)? it(?:'s| is)) ?",
    re.IGNORECASE,
)
"""Words that only look like a denial: "no doubt", "none other than", and the first half of "not A but B"."""
DENIES = re.compile(
    r"\b(?:not|never|nobody|none|nothing|neither|nor|cannot|\w+n't|no (?:\w+ )?(?:would|can|could|should|will|way"
    r"|one|reasons?|chance|evidence|sense|need|person|means|circumstances?)|refus\w+|declin\w+|hesitat\w+|reluctan\w+"
    r"|doubt\w*|unlikely|wrong(?:ly)?"
    r"|incorrect(?:ly)?|false(?:ly)?|untrue|mistake\w*|errors? (?:is )?to|hardly|scarcely|impossible|absurd|silly"
    r"|foolish|fools?|tempt\w+|mislead\w+|den(?:y|ies)|disagree\w*|disput\w+|reject\w* (?:the \w+ )?that"
    r"|(?<!a )few)\b"
    r"|\b(?:bad|worst|least(?: \w+)?|less \w+|trap|other|another|one|an|(?<!only )(?<!best )possible|alternative"
    r"|initial|previous|original|second(?:[ -]best)?)(?: the)? ?$"
    r"|\b(?:avoid\w*|eliminat\w+|exclud\w+|reject\w*|rul\w+ out|discard\w*|dismiss\w*|refut\w+)(?: the)? ?$",
    re.IGNORECASE,
)
"""Words before a statement that deny it, or say that it is about another letter than the chosen one."""
SUPPOSES = re.compile(
    r"\b(?:whether|assum(?:e|ing)|suppos\w+|imagin\w+|wonder\w*|pretend|hypothetically|let(?:'s| us| me) say"
    r"|(?:I|we|they) (?:\w+ )?thought|about to|(?:was|were) going to|wanted to"
    r"|easy to (?:think|say|believe|choose)|unsure|uncertain|unclear)\b"
    r"|\bif(?: (?:it|you|we|I|one|they|the|my|our|to|were|is|was|had|true|that|say|think|believe|correct|right"
    r"|best)){0,6} ?$"
    r"|^ ?(?:were|had|should|could|is)(?: the)?(?: correct| right)? ?$"
    r"|\b(?:some|many|most|people|others|one|you|students)\b.{0,25}\b(?:think|say|argue|claim|believe|guess)s?\b"
    r"|\b(?:some|many|others|people|students|they)(?: who)?(?: \w+)? ?$"
    r"|\b(?:may|might|could) (?:be )?(?:think|say|argue|choos\w+|pick\w*|select\w*|go\w*|the)\b",
    re.IGNORECASE,
)
"""Words before a statement that suppose it, ask about it, or attribute it to others."""
HEDGES = re.compile(
    r"\b(?:not|never|no|cannot|nor|neither|hardly|scarcely|barely|unlikely|\w+n't|could|may|might|can be|possibly"
    r"|thought|supposed|nicht|pas|choices|options|wrong|incorrect|false|between|from|among)\b",
    re.IGNORECASE,
)
"""Words within a statement that cancel it."""
UNLESS = re.compile(r"\)?,? (?:only )?(?:if(?! I\b)|unless|had|were|provided|assuming|supposing)\b", re.IGNORECASE)
TAKEN_BACK = re.compile(
    r"(?:no, )?(?:this|that|it|which)(?: is|'s| was) (?:\w+ly )?"
    r"(?:not (?:true|correct|right)|wrong|false|incorrect|a mistake)(?: ?[.!,;]|$)",
    re.IGNORECASE,
)
"""A sentence that takes the one before it back."""

BEGINS = re.compile(rf"[^\w\ue000-\ue0ff]*{_NOUN} ?(?={LETTER})", re.IGNORECASE)
"""The text allowed before the letter that a text begins with, or that is its last line."""
ENDS = re.compile(r"[ .!)-]*$")
"""The text after a letter that ends its sentence."""
AFTER_FIRST = re.compile(
    r"\)|[ .!]*$|[.:,]| -| (?:because|since|as|due|for|given|which|with|from|by|so|but|not|and|or"
    r"|instead|rather|over|\()(?![A-Za-z])"
)
"""The text allowed after the letter that a text begins with: the option's text after a mark, or a reason."""
AFTER_CAPITAL = re.compile(r" [A-Z0-9]")
