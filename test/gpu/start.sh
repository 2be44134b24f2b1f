#!/bin/sh
# In a bundle this is `gpu` and `stowage`. It needs no PATH: nothing but the shell and the bundle's own Node.
case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
case ${0##*/} in
  stowage) module=app/src/cli/main.js ;;
  *) module=app/test/gpu/start.js ;;
esac
exec "$here/bin/node" "$here/$module" "$@"
