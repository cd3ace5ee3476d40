export const USAGE = `Docker Volume Driver CLI

Usage:
  dvdcli COMMAND --volumedriver=DRIVER --volumename=NAME [flags]

Commands:
  create    make a volume; one that exists is fine
  remove    delete a volume that nobody uses
  mount     mount a volume, made if missing, and print where
  unmount   end the mount
  path      print where a volume is mounted, or nothing
  get       print the name of a volume that exists
  list      print the names of all volumes
  version   print the version
  help      print this

Flags:
  --volumedriver=DRIVER    flocker, or the name of a Docker volume plugin
  --volumename=NAME        the volume
  --volumeopts=KEY=VALUE   with create and mount; several times, or separated by commas
  --explicitcreate         with mount: fail when the volume is missing

Options of driver flocker: size=GIGABYTES, profile=NAME, newfstype=ext4 or xfs, overwritefs, access.
It asks the node agent at FLOCKER_AGENT_SOCKET, else at /run/flocker/agent.sock.
Exit status: 0, or 1 for every error.
`;
