"""Where a mail goes: to the address that was checked, and to no other."""

import pytest

from values.addresses import mailable

ISSUED = [  # as they are given, and as they stand in an envelope
    ("hana@example.com", "hana@example.com"),
    ("o'hara+x@Example.COM", "o'hara+x@Example.COM"),
    ("hans@stra\u00dfe.de", "hans@xn--strae-oqa.de"),
    ("nikos@\u03c2.gr", "nikos@xn--3xa.gr"),
    ("x@b\u00fccher.example", "x@xn--bcher-kva.example"),
    ("x@bu\u0308cher.example", "x@xn--bcher-kva.example"),
    ("x@\u4f8b\u3048\u3002jp", "x@xn--r8jz45g.jp"),
    ("da..me@docomo.ne.jp", '"da..me"@docomo.ne.jp'),
    ("da.me.@docomo.ne.jp", '"da.me."@docomo.ne.jp'),
    (".dame@ezweb.ne.jp", '".dame"@ezweb.ne.jp'),
    ("root@localhost", "root@localhost"),
]


@pytest.mark.parametrize(("given", "written"), ISSUED)
def test_an_address_that_was_issued_is_written_for_its_own_domain(given: str, written: str) -> None:
    assert mailable(given) == written
    assert written.isascii()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "hana",
        "@example.com",
        "hana@",
        "a@b@example.com",
        "a b@example.com",
        '"a"@example.com',
        "a@example.com\n",
        "a@example..com",
        "a@example.com.",
        "a@\u00e9.com.",
        "a@.com",
        "a@[127.0.0.1]",
        "a@ex<ample.com",
        "a@\u2603.net",
        "a@-\u00e9.com",
        "\u82b1@example.com",
        "a" * 65 + "@example.com",
        "a@" + "x" * 64 + ".com",
        "a@" + "x." * 130 + "com",
        "a@" + "\u00e9." * 100_000 + "com",
    ],
)
def test_what_no_mail_can_go_to_is_none(address: str) -> None:
    with pytest.raises(ValueError, match="no mail can go to"):
        mailable(address)
