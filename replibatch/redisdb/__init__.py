"""Redis: connections, Lua scripts, what a server must be like."""
