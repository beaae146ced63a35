"""How money is written and read, integers of a currency's minor unit as ISO 4217 counts them; and
what becomes of a customer's money when their order ends early.
"""

import re
from enum import StrEnum

from values.refused import Sentence

CURRENCIES = frozenset(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD
    CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
    GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD
    KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO
    NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE
    SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND
    VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
    """.split()
)
NO_MINOR_UNIT = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split())
THOUSANDTHS = frozenset("BHD IQD JOD KWD LYD OMR TND".split())
AMOUNT = re.compile(r"(-?[0-9]{1,15})(?:([.,])([0-9]{1,15}))?")
COMMA_DECIMALS_MAX = 2  # more of them behind a comma may be thousands
SIGNS = {"JPY": "¥", "USD": "$", "EUR": "€", "GBP": "£"}


def exponent(currency: str) -> int:
    """Decimal places of the minor unit: 0 for JPY, 2 for EUR, 3 for KWD."""
    if currency in NO_MINOR_UNIT:
        return 0
    return 3 if currency in THOUSANDTHS else 2


def read(text: str, currency: str) -> int:
    """Minor units of an amount as people write it, by the currency's own digits: 12.5 EUR is 1250,
    1200 JPY is 1200, 5.000 KWD is 5000. Raises ValueError of a Sentence for what could mean two
    things.
    """
    found = AMOUNT.fullmatch(text)
    if found is None:
        sentence = "%(amount)s must be written like 1234.50, with no sign and no separator else"
        raise ValueError(Sentence(sentence, amount=text))
    places, decimals = exponent(currency), found[3] or ""
    if len(decimals) > places or (found[2] == "," and len(decimals) > COMMA_DECIMALS_MAX):
        raise ValueError(_in_two_ways(text, currency))
    return int(found[1] + decimals.ljust(places, "0"))


def _in_two_ways(text: str, currency: str) -> Sentence:
    places = exponent(currency)
    few = Sentence("at most %(places)s digits", places=places) if places else Sentence("no digits")
    return Sentence(
        "%(amount)s could be read in two ways: %(currency)s has %(few)s behind a decimal point, "
        "and thousands are written without a separator",
        amount=text,
        currency=currency,
        few=few,
    )


def written(amount: int, currency: str) -> str:
    """Minor units for people: 98000 JPY is ¥98,000, 1250 EUR is €12.50, 5000 KWD is KWD 5.000."""
    places = exponent(currency)
    units, rest = divmod(abs(amount), 10**places)
    figure = f"{units:,}" + (f".{rest:0{places}d}" if places else "")
    return f"{'-' if amount < 0 else ''}{SIGNS.get(currency, f'{currency} ')}{figure}"


class Payback(StrEnum):
    """What an order that ended early means for its customer's money."""

    UNCHARGED = "uncharged"
    UNSETTLED = "unsettled"  # nobody knows yet whether it was paid; if so, all goes back
    WHOLE = "whole"
    PART = "part"
    NOTHING = "nothing"


def payback(*, captured: int, back: int, payment_state: str) -> Payback:
    """What it means, by the amounts alone. `back`: what is given back, or promised."""
    if not captured:
        settled = payment_state in ("none", "failed")
        return Payback.UNCHARGED if settled else Payback.UNSETTLED
    if not back:
        return Payback.NOTHING
    return Payback.PART if back < captured else Payback.WHOLE
