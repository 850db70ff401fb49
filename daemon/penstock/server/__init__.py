"""The side towards the clients: listener, connections, routes per dialect, and what an owner looks at."""
