"""Provider prices as others publish them: read, compared with the catalogue, guarded. Pure: nothing here writes.

`genai` and `litellm` read a feed into statements (`statement`), `files` chooses between them, `diff` says where statements and
catalogue differ, and `guards` marks each difference that a person has to look at by itself.
"""
