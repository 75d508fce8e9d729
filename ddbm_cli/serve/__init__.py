"""`ddbm draw`: a page to draw on, and the HTTP interface behind it.

`app` has the routes and `guard` what every request must pass. `parameters` and `drawings` turn a request into rows of a
batch; `fair` keeps them in turn, and `engine` runs them on the network. `answers` writes the results.

Importing this package imports neither torch nor a web framework.
"""
