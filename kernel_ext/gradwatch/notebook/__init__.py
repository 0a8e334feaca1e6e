"""What the magics are made of. Only magics.py, cell.py and panels.py import IPython."""
