"""What a person can ask about jobs and do to them: for `manage.py jobs`, and for staff pages."""
