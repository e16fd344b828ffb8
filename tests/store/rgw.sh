#!/usr/bin/env bash
# A real S3 server for the tests: Ceph with one monitor, one OSD in memory and the RADOS Gateway. Nothing outlives `stop`.
#   rgw.sh start FOLDER PORT    prints the environment that leads boto3 to it; PORT + 1 and PORT + 2 are taken too
#   rgw.sh stop FOLDER
# Debian: apt-get install --no-install-recommends ceph-mon ceph-osd radosgw ceph-common
set -euo pipefail
action=$1 folder=$2

if [[ $action == stop ]]; then
  for pid in "$folder"/run/*.pid; do
    [[ -f $pid ]] && kill "$(<"$pid")" 2>/dev/null || true
  done
  exit 0
fi

port=$3
mkdir -p "$folder"/{run,log,osd}
folder=$(cd "$folder" && pwd)
cd "$folder"
cluster=$(</proc/sys/kernel/random/uuid) disk=$(</proc/sys/kernel/random/uuid)
cat > ceph.conf <<EOF
[global]
fsid = $cluster
mon_initial_members = a
mon_host = [v2:127.0.0.1:$((port + 1)),v1:127.0.0.1:$((port + 2))]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
mon_data = $folder/mon
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = $((4 << 30))
osd_data = $folder/osd
keyring = $folder/keyring
run_dir = $folder/run
pid_file = $folder/run/\$name.pid
admin_socket = $folder/run/\$name.asok
log_file = $folder/log/\$name.log
rgw_frontends = beast endpoint=127.0.0.1:$port
EOF

ceph() { command ceph -c ceph.conf "$@"; }
as_me=(--setuser "$(id -un)" --setgroup "$(id -gn)")
{
  ceph-authtool --create-keyring keyring --gen-key -n mon. --cap mon 'allow *'
  ceph-authtool keyring --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *'
  ceph-authtool keyring --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
  ceph-authtool keyring --gen-key -n client.rgw --cap mon 'allow rwx' --cap osd 'allow rwx'
  monmaptool --create --fsid "$cluster" --addv a "[v2:127.0.0.1:$((port + 1)),v1:127.0.0.1:$((port + 2))]" monmap
  ceph-mon -c ceph.conf -i a --mkfs --monmap monmap --keyring keyring
  ceph-mon -c ceph.conf -i a "${as_me[@]}"
  ceph osd new "$disk"
  ceph-osd -c ceph.conf -i 0 --mkfs --osd-uuid "$disk" "${as_me[@]}"
  ceph-osd -c ceph.conf -i 0 "${as_me[@]}"
  radosgw -c ceph.conf -n client.rgw "${as_me[@]}"
} >log/start.log 2>&1

for _ in $(seq 120); do
  if curl --silent --fail --output log/answer "http://127.0.0.1:$port/"; then
    radosgw-admin -c ceph.conf user create --uid=test --display-name=test --access-key=rgw --secret-key=rgw-secret \
      >log/user.log 2>&1
    echo "AWS_ENDPOINT_URL_S3=http://127.0.0.1:$port"
    echo "AWS_ACCESS_KEY_ID=rgw"
    echo "AWS_SECRET_ACCESS_KEY=rgw-secret"
    exit 0
  fi
  sleep 0.5
done
echo "no answer on port $port: see $folder/log" >&2
exit 1
