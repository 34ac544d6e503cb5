"""What a screen of the console shows and a command prints: one function each.

cut            whose data somebody sees, and the record of who looked at whom
recipient      what is known of a recipient, may a message be sent, a new consent, evidence, erasure
explanation    the state and the history of a key in words
words          texts and instants in a language, recipients in any notation
sentences      what is said to people, in English and Turkish; i18n: the languages
deadlines      what is due at İYS, the forecast, breaches
overview       do opt-outs flow, what waits, what does not answer; kept: for some seconds
remedies       what holds records back, and what a person does about it
worklist       what needs a person; worklist_acts: what is done about it; unreadable: dead letters
months         what came of a customer in a month, and what became of it
"""
