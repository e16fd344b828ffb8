#!/usr/bin/env bash
# A real S3 server for the tests: Ceph with one monitor, one OSD in memory and the RADOS Gateway. Nothing outlives `stop`.
#   rgw.sh start FOLDER PORT [ADDRESS]    prints the environment that leads boto3 to it; the next four ports are taken
#                                         too; it is found at 127.0.0.1 unless ADDRESS is given
#   rgw.sh stop FOLDER
# Debian: apt-get install --no-install-recommends ceph-mon ceph-osd radosgw ceph-common
set -euo pipefail
action=$1 folder=$2

if [[ $action == stop ]]; then
  for pid in "$folder"/run/*.pid; do  # asked to end, a gateway would wait for the monitor
    [[ -f $pid ]] && kill -KILL "$(<"$pid")" 2>/dev/null || true
  done
  exit 0
fi

port=$3 address=${4:-127.0.0.1}
mkdir -p "$folder"/{run,log,osd}
folder=$(cd "$folder" && pwd)
cd "$folder"
sts_key=sixteen-letters-  # of AES-128, which seals a session token
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
rgw_frontends = beast endpoint=$address:$port ssl_endpoint=127.0.0.1:$((port + 3)) ssl_certificate=$folder/tls.pem
[client.sts]
rgw_frontends = beast endpoint=127.0.0.1:$((port + 4))
rgw_s3_auth_use_sts = true
rgw_sts_key = $sts_key
EOF

failed() {  # nothing in these logs is secret: the keys are made for this one run
  echo "no gateway at $address:$port after $SECONDS s: $1" >&2
  tail -n 20 log/*.log >&2
  exit 1
}
trap 'failed "error in line $LINENO"' ERR

ceph() { timeout 120 ceph -c ceph.conf "$@"; }
as_me=(--setuser "$(id -un)" --setgroup "$(id -gn)")
(
  ceph-authtool --create-keyring keyring --gen-key -n mon. --cap mon 'allow *'
  ceph-authtool keyring --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *'
  ceph-authtool keyring --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
  ceph-authtool keyring --gen-key -n client.rgw --cap mon 'allow rwx' --cap osd 'allow rwx'
  ceph-authtool keyring --gen-key -n client.sts --cap mon 'allow rwx' --cap osd 'allow rwx'
  monmaptool --create --fsid "$cluster" --addv a "[v2:127.0.0.1:$((port + 1)),v1:127.0.0.1:$((port + 2))]" monmap
  ceph-mon -c ceph.conf -i a --mkfs --monmap monmap --keyring keyring
  ceph-mon -c ceph.conf -i a "${as_me[@]}"
  ceph osd new "$disk"
  ceph-osd -c ceph.conf -i 0 --mkfs --osd-uuid "$disk" "${as_me[@]}"
  ceph-osd -c ceph.conf -i 0 "${as_me[@]}"
  openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out ca.pem -days 1 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost
  cat key.pem ca.pem >tls.pem
) >log/start.log 2>&1
for name in client.rgw client.sts; do  # the second with tokens; it no longer tells a wrong key from a missing right
  setsid radosgw -f -c ceph.conf -n $name "${as_me[@]}" >>log/start.log 2>&1 &
  echo $! >run/$name.pid
done

while ((SECONDS < 300)); do
  [[ $(jobs -rp | wc -l) == 2 ]] || failed "a gateway has ended"
  if curl --silent --fail --max-time 5 --output log/answer "http://$address:$port/"; then
    radosgw-admin -c ceph.conf user create --uid=test --display-name=test --access-key=rgw --secret-key=rgw-secret \
      --caps='user-policy=*' >log/user.log 2>&1
    echo "AWS_ENDPOINT_URL_S3=http://$address:$port"
    echo "AWS_ACCESS_KEY_ID=rgw"
    echo "AWS_SECRET_ACCESS_KEY=rgw-secret"
    echo "CEPH_CONF=$folder/ceph.conf"
    echo "RGW_TLS=https://localhost:$((port + 3))"
    echo "RGW_CA=$folder/ca.pem"
    echo "RGW_STS=http://127.0.0.1:$((port + 4))"
    echo "RGW_STS_KEY=$sts_key"
    exit 0
  fi
  sleep 0.5
done
failed "no answer"
