package filter

// Junk is what Options.Junk puts in front of Exclude: what systems, shares and
// programs leave beside photographs, and files that are not complete yet. The
// lines stand in the order in which they are used; the slice is the caller's.
func Junk() []string {
	return []string{
		// macOS, and shares that it wrote to. The icon's name ends with a
		// carriage return, which gitignore drops from the end of a line.
		".DS_Store",
		"._*",
		".AppleDouble",
		".AppleDB",
		".AppleDesktop",
		".Spotlight-V100",
		".Trashes",
		".fseventsd",
		".TemporaryItems",
		".DocumentRevisions-V100",
		".apdisk",
		"Icon[\r]",

		// Windows. Its file systems keep the case that a program wrote, and
		// programs differ.
		"Thumbs.db",
		"thumbs.db",
		"ehthumbs.db",
		"ehthumbs_vista.db",
		"Desktop.ini",
		"desktop.ini",
		"$RECYCLE.BIN/",
		"$Recycle.Bin/",
		"RECYCLER/",
		"System Volume Information/",

		// Storage boxes: thumbnails, waste baskets and snapshots of Synology
		// and QNAP, snapshots of others.
		"@eaDir/",
		`\#recycle/`,
		`\#snapshot/`,
		".@__thumb/",
		"@Recycle/",
		"@Recently-Snapshot/",
		".snapshot/",

		// Linux: found by fsck, waste baskets of mounted disks, and files that
		// are deleted but still open on network and FUSE file systems.
		"lost+found/",
		".Trash-*/",
		".nfs*",
		".fuse_hidden*",
		".smbdelete*",

		// Android: thumbnails, waste, and photographs still being written.
		".thumbnails/",
		".trashed-*",
		".pending-*",

		// Version control. The .git of a worktree or submodule is a file.
		".git",
		".svn/",
		".hg/",

		// Programs that sync: their marks, versions and files under way. An
		// .icloud file stands for one that is not on this disk.
		".stfolder",
		".stversions/",
		"~syncthing~*.tmp",
		".syncthing.*.tmp",
		".sync/",
		".dropbox",
		".dropbox.cache/",
		".tmp.drivedownload/",
		".tmp.driveupload/",
		".*.icloud",

		// Downloads and copies under way.
		"*.part",
		"*.partial",
		"*.filepart",
		"*.crdownload",
		"*.download",
		"*.opdownload",
		".goutputstream-*",

		// rsync writes .NAME.XXXXXX before it renames to NAME. Two dots and six
		// bytes alone would hit too much, so a medium's extension must precede.
		".*.[jJ][pP][gG].??????",
		".*.[jJ][pP][eE][gG].??????",
		".*.[pP][nN][gG].??????",
		".*.[gG][iI][fF].??????",
		".*.[wW][eE][bB][pPmM].??????",
		".*.[aA][vV][iI].??????",
		".*.[aA][vV][iI][fF].??????",
		".*.[hH][eE][iI][cCfF].??????",
		".*.[tT][iI][fF].??????",
		".*.[tT][iI][fF][fF].??????",
		".*.[dD][nN][gG].??????",
		".*.[cC][rR][23].??????",
		".*.[nN][eE][fF].??????",
		".*.[aA][rR][wW].??????",
		".*.[rR][aA][fF].??????",
		".*.[oO][rR][fF].??????",
		".*.[rR][wW]2.??????",
		".*.[pP][sS][dD].??????",
		".*.[mM][oO][vV].??????",
		".*.[mM][pP][34].??????",
		".*.[mM]4[aAvV].??????",
		".*.[mM][tT][sS].??????",
		".*.[mM][kK][vV].??????",
		".*.[wW][aA][vV].??????",

		// Editors and offices: backups, swap files, locks.
		"*.tmp",
		"*.TMP",
		"*.temp",
		"*.swp",
		"*.swo",
		"*~",
		".#*",
		`\#*#`,
		".~lock.*#",
		"~$*",
	}
}
