"""A parcel is found on its carrier's page, however people write its name and number."""

import pytest

from orders.models.carriers import PAGE_OF, tracking_url

YAMATO = "https://member.kms.kuronekoyamato.co.jp/parcel/detail?pno=472575516733"


@pytest.mark.parametrize(
    ("carrier", "tracking", "page"),
    [
        ("Yamato", "472575516733", YAMATO),
        ("ヤマト運輸", "4725-7551-6733", YAMATO),  # its page refuses the hyphens
        ("Kuroneko Yamato", "４７２５ ７５５１ ６７３３", YAMATO),
        ("Ups", "1Z&x=1", "https://www.ups.com/track?tracknum=1Zx1"),
        ("ups & sons", "1Z1", None),
        ("", "1234", None),
        ("DHL", "", None),
        ("DHL", "---", None),
        ("Bike", "https://bike.example/p/7?a=1", "https://bike.example/p/7?a=1"),
        ("Bike", "javascript:alert(1)", None),
        ("Bike", "http://bike.example/7", None),
        ("Bike", 'https://bike.example/"><b>', 'https://bike.example/"><b>'),  # escaped where shown
    ],
)
def test_a_parcel_is_found_on_its_carriers_page(
    carrier: str, tracking: str, page: str | None
) -> None:
    assert tracking_url(carrier, tracking) == page


def test_a_name_belongs_to_one_carrier_and_every_page_takes_a_number() -> None:
    assert all(page.count("{}") == 1 for page in PAGE_OF.values())
    assert len(PAGE_OF) > 20
