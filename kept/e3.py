import sys; sys.path.insert(0,'/tmp/adapt')
from exp import *
from combiner_cli.priors import library
import glob, warnings; warnings.filterwarnings('ignore')
name, K, N, crop, epochs, trainglob, valglob, stride, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), sys.argv[6], sys.argv[7], int(sys.argv[8]), sys.argv[9]
prior=library.find(name); rng=np.random.default_rng(1); torch.manual_seed(1)
def crops(folder,n,side):
    fs=sorted(glob.glob(folder)); fs=[fs[i] for i in rng.permutation(len(fs))]; out=[]
    for f in fs:
        a=np.asarray(Image.open(f).convert('RGB'))
        if min(a.shape[:2])<min(side,160): continue
        s=(min(side,a.shape[0]),min(side,a.shape[1])); y=rng.integers(a.shape[0]-s[0]+1); x=rng.integers(a.shape[1]-s[1]+1)
        out.append((f,a[y:y+s[0],x:x+s[1]], int(rng.integers(16,64)), PERCEPTUAL if rng.random()<.5 else FLAT_PICTURE))
        if len(out)==n: break
    return out
PARTS=("b1","b2","b3")
class Sig: pass
layout=None
def prepare(a,l,noise,stride):
    global layout
    sim,nets=record(prior,a,l-levels_coarser(noise),noise)
    for net in nets.values():
        net.w=1.0
        if net.n>3000 and stride>1:
            idx=torch.randperm(net.n)[:net.n//stride]; net.w=net.n/len(idx)
            net.p1=net.p1[:,idx].contiguous(); net.lin=net.lin[:,idx]; net.con=net.con[idx]; net.true=net.true[:,idx]; net.lcon=net.lcon[idx]
            net.cls=None if net.cls is None else net.cls[idx]; net.noise=None if net.noise is None else net.noise[idx]
        net.f=None
    if layout is None or len(nets)>len(layout0):
        pass
    return nets
allkeys=[(k,n.name) for k in range(4) for n in pf.NETWORKS]
sizes={}
def W(k,n,t): return prior.stored[f"{k}.{n}.{t}"]
place={};off=0
for k,n in allkeys:
    for part,t in zip(PARTS,("first_bias","second_bias","third_bias")):
        m=len(W(k,n,t)); place[(k,n),part]=slice(off,off+m); off+=m
P=off
def cost(nets,b,means=True):
    e=0;c=0
    for k,net in nets.items():
        p={part:b[place[k,part]][:,None] for part in PARTS}
        x,y=net.cost(p); e=e+net.w*x; c=c+net.w*y
    return (e+c) if means else e
t=time.time()
train=[(prepare(a,l,s,stride)) for f,a,l,s in crops(trainglob,N,crop)]
val=[(f,l,prepare(a,l,s,1)) for f,a,l,s in crops(valglob,10,384)]
print("recorded",len(train),len(val),"%.0fs"%(time.time()-t),flush=True)
G=torch.zeros(len(train),P);F=torch.zeros(P)
for i,nets in enumerate(train):
    for k,net in nets.items():
        leaf={part:torch.zeros(place[k,part].stop-place[k,part].start,net.n if net.w==1 else len(net.con),requires_grad=True) for part in PARTS}
        x,y=net.cost(leaf); (net.w*(x+y)).backward()
        for part in PARTS:
            g=leaf[part].grad; G[i,place[k,part]]=-g.sum(1); F[place[k,part]]+=(g**2).sum(1)/net.w*math.log(2)/len(train)
D=1/torch.sqrt(F+F.mean()*0.03)   # scale of each bias at which cost changes by about a bit
Gn=G*D
Gn=Gn/ (Gn.norm(dim=1,keepdim=True)+1e-9)
U,S,V=torch.linalg.svd(Gn,full_matrices=False)
print("grads %.0fs"%(time.time()-t),"svd share",np.round((S**2/(S**2).sum())[:12].numpy(),3),flush=True)
A=(V[:K].T*4.0).clone().requires_grad_(True)   # P x K, whitened
M=[torch.zeros(K,requires_grad=True) for _ in train]; R=[torch.full((K,),-1.0,requires_grad=True) for _ in train]
optA=torch.optim.Adam([A],lr=2e-2/math.sqrt(K)*1.0,betas=(.9,.99)); opts=[torch.optim.Adam([m,r],lr=0.15,betas=(.8,.95)) for m,r in zip(M,R)]
v=torch.ones(K)
def kl(m,r): return (0.5*((torch.exp(2*r)+m**2)/v-1)-r+0.5*torch.log(v)).sum()/math.log(2)
base=[float(cost(n,torch.zeros(P)).detach()) for n in train]
def fitz(nets,A,steps=40):
    m=torch.zeros(K,requires_grad=True); r=torch.full((K,),-2.0,requires_grad=True)
    opt=torch.optim.Adam([m,r],lr=0.2,betas=(.8,.95))
    for i in range(steps):
        for g in opt.param_groups: g["lr"]=0.2*min(1,2*(1-i/steps))
        opt.zero_grad(); z=m+torch.exp(r)*torch.randn(K); (cost(nets,D*(A@z))+kl(m,r)).backward(); opt.step()
    with torch.no_grad():
        z=m+torch.exp(r)*torch.randn(K); return float(cost(nets,D*(A@z),False)), float(kl(m,r))
def evaluate():
    A0=A.detach(); rows=[]
    for f,l,nets in val:
        with torch.no_grad(): b=float(cost(nets,torch.zeros(P),False))
        c,k=fitz(nets,A0); rows.append((f.split('/')[-1][:12],l,round(100*(c/b-1),2),round(100*((c+k)/b-1),2),round(k/8)))
    a=np.array([r[2:] for r in rows]); print("   VAL gross %.2f net %.2f kl %.0f B (mean), median net %.2f"%(*a.mean(0),np.median(a[:,1])),rows,flush=True)
for ep in range(epochs):
    tot=0;kk=0;bb=0
    for g in optA.param_groups: g["lr"]=2e-2/math.sqrt(K)*min(1,2*(1-ep/epochs))*(0 if ep<3 else 1)
    order=rng.permutation(len(train)); A.grad=None
    for j,i in enumerate(order):
        m,r=M[i],R[i]; opts[i].zero_grad()
        z=m+torch.exp(r)*torch.randn(K); c=cost(train[i],D*(A@z)); k=kl(m,r)
        # bits of signals relative to their size, so that none outshines
        (c+k).backward(); 
        if A.grad is not None and not torch.isfinite(A.grad).all(): A.grad=None
        opts[i].step(); tot+=float(c.detach()); kk+=float(k.detach()); bb+=base[i]
        if j%4==3: optA.step(); A.grad=None
    with torch.no_grad():
        vn=torch.stack([m**2+torch.exp(2*r) for m,r in zip(M,R)]).mean(0); 
        if ep>=3: v=vn.clamp(min=1e-3)
    if ep%4==3 or ep==epochs-1: print("epoch",ep,"train gross %.2f net %.2f kl %.0f B %.0fs"%(100*(tot/bb-1),100*((tot+kk)/bb-1),kk/8/len(train),time.time()-t),np.round(v[:8].numpy(),2),flush=True)
    if ep in (11,) or ep==epochs-1:
        evaluate(); torch.save({"A":A.detach(),"D":D,"v":v,"K":K},out)
