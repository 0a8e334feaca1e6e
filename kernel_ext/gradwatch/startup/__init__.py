"""What `gradwatch run` puts into the program's interpreter: this directory goes on its PYTHONPATH."""
