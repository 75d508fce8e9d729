"""`python -m ddbm_cli` is `ddbm`."""

from ddbm_cli.cli.main import main

main()
