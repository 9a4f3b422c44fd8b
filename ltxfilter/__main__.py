"""python -m ltxfilter."""

from ltxfilter.cli import main

if __name__ == "__main__":
    main()
