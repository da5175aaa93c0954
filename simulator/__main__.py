"""`python -m simulator --state-dir DIR`: run the simulated venues until told to stop."""

import sys

from simulator.run import main

sys.exit(main())
