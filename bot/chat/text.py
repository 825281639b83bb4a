"""Text as every store and service takes it. Pure.

JSON can hold half of a surrogate pair (`"\\ud83d"`): of a program that cuts texts within an emoji. UTF-8
cannot: the request, the store or the command that such a text comes to fails.
"""

import json
from typing import Any


def well_formed(text: str) -> str:
    """Return `text` with pairs of surrogates joined, and U+FFFD for each half that is alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def well_formed_json(value: Any) -> Any:
    """Return a JSON value with all of its texts well formed. Raises `RecursionError` when it is too deep."""
    text = json.dumps(value, ensure_ascii=False)
    sound = well_formed(text)
    return value if sound == text else json.loads(sound)
