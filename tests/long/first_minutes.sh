#!/bin/bash
# `./dev test --long` proves the README's second command on a bare Debian 12.
exec "$ROTA_SOURCE/tests/run-in-chroot"
