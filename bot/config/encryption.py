"""Key for secrets of others that the bot keeps."""

import base64
import binascii
import re
from collections.abc import Sequence

from pydantic import Field, SecretStr, field_validator

from bot.config.environment import EnvironmentSettings

KEY_BYTES = 32

_STANDARD = str.maketrans("-_", "+/")  # of the alphabet for addresses
_HEX = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


def parse_keys(text: str) -> list[bytes]:
    """Return the keys in a list that is separated by commas. Raises `ValueError`."""
    keys = [_key(each.strip()) for each in text.split(",") if each.strip()]
    if not keys:
        raise ValueError("is empty")
    return keys


def _key(text: str) -> bytes:
    try:
        is_hex = _HEX.fullmatch(text)
        key = bytes.fromhex(text) if is_hex else base64.b64decode(text.translate(_STANDARD), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(
            f"must be {KEY_BYTES} bytes in base64 or hexadecimal digits, for example the output of "
            "`openssl rand -hex 32`; after a comma an earlier key may follow, which only decrypts"
        )
    return key


class EncryptionSettings(EnvironmentSettings):
    """Setting of the key."""

    encryption_key: SecretStr | None = Field(
        None,
        description="key for the tokens of workspaces (`openssl rand -hex 32`), the same for all processes; "
        "default one that is made and kept in DATA_DIR ([more](slack.md#many-workspaces))",
    )

    @field_validator("encryption_key")
    @classmethod
    def _usable_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            parse_keys(key.get_secret_value())
        return key

    def key_problems(self, kept: Sequence[str]) -> list[str]:
        """Return a sentence for each setting in `kept` that needs a key in production."""
        if self.encryption_key is not None:
            return []
        return [
            f"ENCRYPTION_KEY: must be set beside {name.upper()} when BOT_ENV=production, for example to the "
            "output of `openssl rand -hex 32`"
            for name in kept
        ]
