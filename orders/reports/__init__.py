"""The daily report: what moved on one day of the shop, for each currency.

What a day's figures mean (ADR 14):

* A day lasts from midnight to midnight in the shop's time zone (TIME_ZONE). Its hours are hours of
  real time, so a day on which the clocks change has 23 or 25 of them.
* An order counts on the day it is confirmed, i.e. the day of its `order.confirmed` event, whenever
  it was placed.
* Money counts on the day it moves: `gross` is what was captured and `refunds` what was given back,
  each by the event of the order that first shows it. An order that is refunded later changes the
  later day and not its own, so the days of an order add up to what it shows as `captured` and
  `refunded`. `net` is gross - refunds and may be negative.
* `top_skus` are the goods of the day's orders as they were confirmed, by amount (quantity · price -
  discount + tax); shipping belongs to no sku, and refunds are not taken off.
* Events are facts, so a past day does not change. It is computed once and kept; computing it again
  gives the same, unless TIME_ZONE was changed.

A client reads its own orders' figures; the mail to the staff is about those of all clients.
"""
