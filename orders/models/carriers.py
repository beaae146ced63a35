"""Where a parcel is looked for: the pages of carriers, by the names that people give these."""

import re
import unicodedata

PAGES = {
    "https://member.kms.kuronekoyamato.co.jp/parcel/detail?pno={}": (
        "yamato yamatotransport kuroneko kuronekoyamato ヤマト ヤマト運輸 クロネコヤマト 宅急便"
    ),
    "https://k2k.sagawa-exp.co.jp/p/web/okurijosearch.do?okurijoNo={}": (
        "sagawa sagawaexpress 佐川 佐川急便"
    ),
    "https://trackings.post.japanpost.jp/services/srv/search/direct?reqCodeNo1={}": (
        "japanpost jppost yupack ems 日本郵便 郵便局 ゆうパック ゆうパケット レターパック"
    ),
    "https://www.dhl.com/global-en/home/tracking.html?tracking-id={}": "dhl dhlexpress dhlpaket",
    "https://tracking.dpd.de/status/en_US/parcel/{}": "dpd",
    "https://gls-group.com/track/{}": "gls",
    "https://www.ups.com/track?tracknum={}": "ups",
    "https://www.fedex.com/fedextrack/?trknbr={}": "fedex",
    "https://tools.usps.com/go/TrackConfirmAction?tLabels={}": "usps",
}
PAGE_OF = {name: page for page, names in PAGES.items() for name in names.split()}
NO_NAME = re.compile(r"[\s._・-]+")
NO_NUMBER = re.compile(r"[^0-9A-Za-z]+")
OWN_PAGE = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]+)?/[!-~]*")


def tracking_url(carrier: str, tracking: str) -> str | None:
    """The page on which this parcel is looked for: what the shop gave as its number, if that is an
    address, or the carrier's page. None where none is known.
    """
    if OWN_PAGE.fullmatch(tracking):
        return tracking
    page = PAGE_OF.get(NO_NAME.sub("", _plain(carrier)).lower())
    number = NO_NUMBER.sub("", _plain(tracking))
    return page.format(number) if page and number else None


def _plain(text: str) -> str:
    """The text as a keyboard for Latin types it: full-width digits are digits."""
    return unicodedata.normalize("NFKC", text)
