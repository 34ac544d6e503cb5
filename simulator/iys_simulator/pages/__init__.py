"""Web pages for people: the citizen's page and the e-mail opt-out page."""
