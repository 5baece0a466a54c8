"""fakeredis' server, for a machine that has no Redis at all. A script: substitute.py PORT."""

import sys

from fakeredis import TcpFakeServer

if __name__ == "__main__":
    server = TcpFakeServer(("127.0.0.1", int(sys.argv[1])))
    server.daemon_threads = True  # a client that stays connected does not keep it from ending
    server.serve_forever()
