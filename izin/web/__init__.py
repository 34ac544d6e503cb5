"""The console: what people see and do in a browser. No law, query or decision is here: screens read
through izin.views, as the commands do.

rights    what each role may do
i18n      Turkish and English: texts, numbers, instants
forms     the body of a posted form
pages     templates, and the headers of every response
visit     one request of who is signed in: the customer, the page, looks at people
app       routes, sessions, and what is refused
sign_in   by password, link or identity provider
live      pages that update themselves, rendered once for all who watch
screens/  one module a screen
"""
