"""Coverage-guided fuzzing of everything that reads a stranger's bytes: ``python -m tests.fuzz --help``.

``targets.py`` holds what is called with them and what must hold then. What a run finds is kept in
``corpus/``, where ``test_corpus.py`` tries all of it again on every change.
"""
