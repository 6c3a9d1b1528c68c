"""How machines watch a command: events, metrics, alerts and spans, each in a module of its own that is imported if it is asked for."""
