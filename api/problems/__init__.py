"""Every refusal of the API: its types and document (RFC 9457); what becomes of each exception."""
