package failpoint

// The failpoints, by where they are: "commit" is inside a transaction, whose commit
// has not happened; "after" is right after it. Those of the uploader are before and
// after a request, before its answer is used.
const (
	// state
	CreateBegin         = "state.create"
	CreateBuilt         = "state.create.built"
	CreatePlaced        = "state.create.placed"
	MigrateBackup       = "state.migrate.backup"
	MigrateBackedUp     = "state.migrate.backup.after"
	MigrateStep         = "state.migrate.step"
	MigrateStepCommit   = "state.migrate.step.commit"
	MigrateStepAfter    = "state.migrate.step.after"
	StateCommit         = "state.commit"
	StateCommitted      = "state.commit.after"
	StateSync           = "state.sync"
	StateSynced         = "state.sync.after"
	RootCommit          = "state.root.commit"
	RelocateCommit      = "state.relocate.commit"
	RelocateAfter       = "state.relocate.after"
	DistrustCommit      = "state.distrust.commit"
	RehomeCommit        = "queue.rehome.commit"
	RehomedCommit       = "queue.rehomed.commit"
	ClaimCommit         = "queue.claim.commit"
	ClaimAfter          = "queue.claim.after"
	RecoverCommit       = "queue.recover.commit"
	RecoverAfter        = "queue.recover.after"
	RetryCommit         = "queue.retry.commit"
	CompleteRecord      = "queue.complete.record"
	CompleteRemove      = "queue.complete.remove"
	CompleteCommit      = "queue.complete.commit"
	TouchCommit         = "queue.touch.commit"
	DropCommit          = "queue.drop.commit"
	FailCommit          = "queue.fail.commit"
	AliasCommit         = "queue.alias.commit"
	EnqueueCommit       = "queue.enqueue.commit"
	EnqueueAfter        = "queue.enqueue.after"
	CancelCommit        = "queue.cancel.commit"
	MarkAbsentCommit    = "queue.markabsent.commit"
	MarkPresentCommit   = "queue.markpresent.commit"
	ScannedCommit       = "queue.scanned.commit"
	ScannedAfter        = "queue.scanned.after"
	DueCommit           = "queue.due.commit"
	IntendCommit        = "queue.intend.commit"
	IntendAfter         = "queue.intend.after"
	NoteJobCommit       = "queue.notejob.commit"
	ForgetCommit        = "queue.forget.commit"
	PlacedCommit        = "queue.placed.commit"
	LocateCommit        = "queue.locate.commit"
	LostCommit          = "queue.lost.commit"
	RemovedCommit       = "queue.removed.commit"
	IdentifyCommit      = "queue.identify.commit"
	SettleAfter         = "queue.settle.after"
	SettledCommit       = "queue.settled.commit"
	ShortenedCommit     = "queue.shortened.commit"
	DecideCommit        = "queue.decide.commit"
	ToUploadCommit      = "queue.toupload.commit"
	RelabelCommit       = "queue.relabel.commit"
	RelabelAfter        = "queue.relabel.after"
	MovedTreeCommit     = "queue.movedtree.commit"
	MovedPageCommit     = "queue.movedpage.commit"
	NoteFolderCommit    = "queue.notefolder.commit"
	ForgetFolderCommit  = "queue.forgetfolder.commit"
	JobDone             = "uploader.job.done"
	Upload              = "uploader.upload"
	Uploaded            = "uploader.upload.after"
	LibraryFind         = "uploader.find"
	LibraryFound        = "uploader.find.after"
	LibraryDetails      = "uploader.details"
	LibraryDetailed     = "uploader.details.after"
	LibraryList         = "uploader.list"
	LibraryListed       = "uploader.list.after"
	LibraryFolderExists = "uploader.folderexists"
	LibraryFolderKnown  = "uploader.folderexists.after"
	LibraryRename       = "uploader.rename"
	LibraryRenamed      = "uploader.rename.after"
	LibraryMove         = "uploader.move"
	LibraryMoved        = "uploader.move.after"
	LibraryCopy         = "uploader.copy"
	LibraryCopied       = "uploader.copy.after"
	LibraryDelete       = "uploader.delete"
	LibraryDeleted      = "uploader.delete.after"
	LibraryRenameFolder = "uploader.renamefolder"
	LibraryRenamedTree  = "uploader.renamefolder.after"
	LibraryMoveFolder   = "uploader.movefolder"
	LibraryMovedTree    = "uploader.movefolder.after"
	LibraryDeleteFolder = "uploader.deletefolder"
	LibraryDeletedTree  = "uploader.deletefolder.after"
	LibraryJob          = "uploader.jobdone"
	LibraryJobTold      = "uploader.jobdone.after"
)

// Names lists all of them.
var Names = []string{
	CreateBegin, CreateBuilt, CreatePlaced,
	MigrateBackup, MigrateBackedUp, MigrateStep, MigrateStepCommit, MigrateStepAfter,
	StateCommit, StateCommitted, StateSync, StateSynced, RootCommit, RelocateCommit, RelocateAfter, DistrustCommit,
	ClaimCommit, ClaimAfter, RecoverCommit, RecoverAfter, RetryCommit,
	CompleteRecord, CompleteRemove, CompleteCommit, TouchCommit, DropCommit, FailCommit, AliasCommit,
	EnqueueCommit, EnqueueAfter, CancelCommit, MarkAbsentCommit, MarkPresentCommit, ScannedCommit, ScannedAfter, DueCommit,
	IntendCommit, IntendAfter, NoteJobCommit, ForgetCommit, PlacedCommit, LocateCommit, LostCommit, RemovedCommit, IdentifyCommit,
	SettleAfter, SettledCommit, ShortenedCommit, DecideCommit, ToUploadCommit, RelabelCommit, RelabelAfter, MovedTreeCommit, MovedPageCommit, NoteFolderCommit, ForgetFolderCommit, RehomeCommit, RehomedCommit,
	JobDone, Upload, Uploaded,
	LibraryFind, LibraryFound, LibraryDetails, LibraryDetailed, LibraryList, LibraryListed, LibraryFolderExists, LibraryFolderKnown,
	LibraryRename, LibraryRenamed, LibraryMove, LibraryMoved, LibraryCopy, LibraryCopied, LibraryDelete, LibraryDeleted,
	LibraryRenameFolder, LibraryRenamedTree, LibraryMoveFolder, LibraryMovedTree, LibraryDeleteFolder, LibraryDeletedTree,
	LibraryJob, LibraryJobTold,
}
