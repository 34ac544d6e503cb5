"""API keys at the endpoints: known from their topic, decided on purely, checked over HTTP."""
