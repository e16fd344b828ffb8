"""What people say of an adapter's answers: flags, a queue of answers to judge, signed marks, and what they settle.

flagged/<name>/<version>/<time>-<random>.json        an answer that a reviewer flagged, with its note
reviews/<name>/<version>/queue.json                  which held-out answers are queued and how they were drawn; no text
reviews/<name>/<version>/cases/<case>.json           a held-out answer with its note
reviews/<name>/<version>/marks/<case>/<reviewer>.json   the mark of a reviewer, named by a hash of the reviewer
reviews/<name>/<version>/marks/<case>/settled.json   the mark of the person who settled a disagreement
"""
