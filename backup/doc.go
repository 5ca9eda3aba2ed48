// Package backup copies what an installation cannot lose to another place, and shows by restoring it that the copy is
// good. A backup is one file: encrypted to several recipients, one of whom lies offline, signed by the installation, with
// a list of its parts at its beginning and at its end. Whoever holds the place where backups lie can neither read them nor
// make one up, nor pass off an old one as new; what is cut off, changed, exchanged or missing is found and named (K11). A
// backup that has never been restored is a hope: each is restored into a scratch directory as soon as it is made, and the
// proof is kept.
//
// What is never in a backup is the root key: a backup alone opens nothing that the gateway had sealed.
package backup
