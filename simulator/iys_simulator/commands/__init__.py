"""The command line: `serve`, the commands that control a running simulator, `conformance`."""
