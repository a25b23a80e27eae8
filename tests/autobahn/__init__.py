"""The Autobahn|Testsuite against both roles of fastws: ``python -m tests.autobahn --help``.

It needs CPython 2.7 (pyenv has it), for which it makes an environment of its own in ``.autobahn/``.
"""
