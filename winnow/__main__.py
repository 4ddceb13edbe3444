"""`python -m winnow`."""

from winnow.cli import main

if __name__ == "__main__":
    main()
