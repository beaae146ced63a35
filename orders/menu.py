"""The demo shop's menu."""

from dataclasses import dataclass

CURRENCY = "JPY"


@dataclass(frozen=True, slots=True)
class Dish:
    sku: str
    ja: str
    en: str
    price: int  # yen, tax included
    on_hand: int  # when the shop is seeded


MENU = (
    Dish("SAKE-NIGIRI", "鮭", "Salmon nigiri", 300, 500),
    Dish("MAGURO-NIGIRI", "鮪", "Tuna nigiri", 380, 500),
    Dish("TAMAGO-NIGIRI", "玉子", "Egg omelette nigiri", 180, 500),
    Dish("UNI-NIGIRI", "雲丹", "Sea urchin nigiri", 680, 3),
    Dish("NATTO-MAKI", "納豆巻", "Natto roll", 220, 500),
    Dish("UNAGI-NIGIRI", "鰻", "Eel nigiri", 520, 0),
)
