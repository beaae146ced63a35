"""Who is told of what: events, mails and signed webhooks, each delivered once."""
