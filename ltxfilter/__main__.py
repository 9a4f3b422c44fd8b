"""python -m ltxfilter."""

from ltxfilter.cli.main import main

if __name__ == "__main__":
    main()
