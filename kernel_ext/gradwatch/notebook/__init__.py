"""What the magics are made of. Only magics.py and cell.py import IPython."""
