"""What others have said, before it reaches a terminal, a log or a cell of a table: no command to any of them is left.

Guests, dom0, SSH servers and programs say what they like. Escape sequences move a terminal's cursor and change its
title, a line end forges a line of a log, and a bidirectional override shows another text than there is.
"""

from __future__ import annotations

import re

LONGEST_CHARS = 500
"""Of what one machine says at a time; longer is cut in the middle, since the end of an error is worth most."""
CUT = " … "

# C0 and C1 controls (U+009B begins a terminal's sequences as ESC [ does), what no reader sees, what turns the direction
# of the text around it, and Unicode's own line ends; tab and line feed stay.
_COMMANDS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def plain(text: str) -> str:
    """Return text that survives CSV and a terminal: no control characters, line ends as line feeds."""
    return _COMMANDS.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n").replace("\r", "\n"))


def one_line(text: str, most_chars: int = LONGEST_CHARS) -> str:
    """Return it as one line of at most so many characters; ends of lines inside show as ` | `."""
    if len(text) > 4 * most_chars:  # so that what is to be thrown away costs nothing
        text = text[: 2 * most_chars] + text[-2 * most_chars :]
    text = " | ".join(filter(None, (line.rstrip() for line in plain(text).replace("\t", " ").split("\n"))))
    if len(text) <= most_chars:
        return text
    begin = (most_chars - len(CUT)) // 3
    return text[:begin] + CUT + text[begin + len(CUT) - most_chars :]
