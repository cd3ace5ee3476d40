import { join } from 'node:path';

/** Where a cluster on one machine keeps its things, below one directory. */
export interface ClusterLayout {
  readonly directory: string;
  readonly settings: string;
  /** What other programs read: addresses, certificates, sockets, pids. */
  readonly clusterJson: string;
  /** The authority's pair and the user's certificate. */
  readonly certificates: string;
  readonly controlCertificates: string;
  readonly controlData: string;
  /** Data of the members of etcd, when it is the store. */
  readonly etcd: string;
  /** Data, keys and logs of the daemons of Ceph, when the nodes have their volumes there. */
  readonly ceph: string;
  /** Where the nodes mount their pool on Ceph, each in a directory of its own. Short, as there are sockets below it. */
  readonly cephMounts: string;
  readonly logs: string;
  /** The storage that all nodes share. */
  readonly volumes: string;
  node(number: number): NodeLayout;
}

interface NodeLayout {
  readonly directory: string;
  readonly agentYml: string;
  readonly socket: string;
  /** For the Mesos isolator's module. */
  readonly isolator: string;
  /** For Docker: the volume plugin. */
  readonly docker: string;
  /** For Mesos's volume/csi, Kubernetes and Nomad: the CSI plugin. */
  readonly csi: string;
  readonly state: string;
  readonly mountRoot: string;
  /** State of the node's Mesos resource provider, when one is run. */
  readonly provider: string;
  /** Where a Mesos agent finds the node's disks. */
  readonly disks: string;
  /** Where a pool that is not a directory is mounted. */
  readonly poolMount: string;
  /** Key of the node for Ceph. */
  readonly cephKeyring: string;
  readonly log: string;
}

/** The layout below `directory`, an absolute path. */
export function clusterLayout(directory: string): ClusterLayout {
  return {
    directory,
    settings: join(directory, 'settings.json'),
    clusterJson: join(directory, 'cluster.json'),
    certificates: join(directory, 'certificates'),
    controlCertificates: join(directory, 'control'),
    controlData: join(directory, 'control', 'data'),
    etcd: join(directory, 'etcd'),
    ceph: join(directory, 'ceph'),
    cephMounts: join(directory, 'fs'),
    logs: join(directory, 'logs'),
    volumes: join(directory, 'volumes'),
    node: (number) => {
      const node = join(directory, `node${number}`);
      return {
        directory: node,
        agentYml: join(node, 'agent.yml'),
        socket: join(node, 'agent.sock'),
        isolator: join(node, 'isolator.sock'),
        docker: join(node, 'docker.sock'),
        csi: join(node, 'csi.sock'),
        state: join(node, 'state'),
        mountRoot: join(node, 'flocker'),
        provider: join(node, 'provider'),
        disks: join(node, 'disks'),
        poolMount: join(node, 'pool'),
        cephKeyring: join(node, 'ceph.keyring'),
        log: join(directory, 'logs', `node${number}.log`),
      };
    },
  };
}
