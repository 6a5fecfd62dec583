"""The window. Qt lives in this package only."""

import sys

if sys.platform == "win32":
    # Loaded after Qt, torch's DLLs fail to initialise there (pytorch#166628); every Qt import passes through here.
    import torch  # noqa: F401
