# A profile for tests: all but /secret. apparmor.bin is made of it, on Debian 12, by
#
#	apparmor_parser --skip-kernel-load --skip-cache --stdout apparmor.profile >apparmor.bin
profile caisson-test flags=(attach_disconnected, mediate_deleted) {
  capability,
  network,
  mount,
  remount,
  umount,
  pivot_root,
  ptrace,
  signal,
  unix,
  file,
  deny /secret rwklx,
}
