"""What a check has found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    about: str
    sentence: str
    remedy: str = ""  # what to do; empty when all is well

    @property
    def is_wrong(self) -> bool:
        return bool(self.remedy)
