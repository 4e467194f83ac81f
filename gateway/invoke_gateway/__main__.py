"""`python -m invoke_gateway` is the command `invoke-gateway`."""

from invoke_gateway.entry import main

if __name__ == "__main__":
    main()
