"""`python -m cosine_lr` is the command `cosine_lr`"""

# Made by tools/facade.py.
from .cli import main

if __name__ == '__main__': raise SystemExit(main())
