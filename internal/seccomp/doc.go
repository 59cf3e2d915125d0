// Package seccomp compiles OCI seccomp profiles into the kernel's filter programs (classic BPF), in Go alone.
//
// [Compile] takes any profile of the OCI runtime specification; [Default] gives Docker's default profile, but for one
// point that [DefaultProfile] explains, for a set of capabilities, and costs microseconds from the second call on. A filter covers every ABI of the machine that the
// profile names: x86_64, i386 and x32 on amd64, aarch64 and arm on arm64.
//
// A filter is a binary search tree over ranges of syscall numbers. The kernel runs a filter at its installation once
// for each syscall, to learn which ones are always allowed (Linux 5.11), so that a tree makes the start of a container
// faster, not only its syscalls.
//
// Where the specification leaves the meaning open, the package does what libseccomp and runc do:
//
//   - A rule whose action is the default action is skipped. A rule without conditions wins over those with
//     conditions, wherever it stands; of several without conditions the first one wins. Of several with conditions
//     the first one that matches wins.
//   - Conditions of one rule must all hold, unless two of them look at the same argument: then each stands alone.
//   - A syscall of an ABI that the profile does not name kills the thread. The build's own ABI is always in.
//   - NOTIFY may be the default action too, which runc refuses. How the listener is handed over is up to the caller.
//   - A syscall newer than the newest one that the profile names answers ENOSYS in place of the default action,
//     unless the default action lets it pass. A C library then falls back to an older syscall, where EPERM would make
//     it give up.
//   - On i386 a rule for socket(2) and its kin, or for System V IPC, covers socketcall(2) and ipc(2) too. Arguments
//     behind those two's pointers cannot be seen: an allowing rule with conditions does not extend to them, a denying
//     one denies the whole call.
//
// It runs on Linux 4.14 or newer (3.17 without the actions LOG and KILL_PROCESS, 5.0 with NOTIFY) and leaves nothing
// on disk.
package seccomp
