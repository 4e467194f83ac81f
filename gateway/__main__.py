"""`python -m gateway` is the command `invoke-gateway`."""

from gateway.cli import main

if __name__ == "__main__":
    main(prog_name="invoke-gateway")
