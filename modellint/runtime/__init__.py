"""Observers of a live run: what happened becomes the same facts that the readers of code make. The only torch.

`hooks` installs and removes everything that torch calls back, `session` keeps what every observer needs (roots,
optimizers, windows, places), one observer a fact notes what concerns its fact, and `watch` asks them at the end.
"""
